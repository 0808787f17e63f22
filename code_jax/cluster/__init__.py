"""Work spread over a cluster of machines by Ray, which places, restarts and moves the processes; what is done is counted here."""
