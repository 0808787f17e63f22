"""The paper's tables for any prior and any folder of clean pictures: corrupt, restore, measure, choose, report."""
