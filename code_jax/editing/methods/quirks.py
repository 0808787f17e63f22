"""Where the published program departs from the paper's formulae, by name."""

from __future__ import annotations

QUIRKS = {
    "clip_by_index": "clipping takes ᾱ at the step's index among the N steps, not at its timestep: the bounds are far too tight",
    "clip_before_evaluation": "clipping acts before an evaluation, from the second on: the deepest code is not clipped",
    "last_step_up": "the last decoding step goes up to the second timestep, not down to 0: the result keeps noise",
    "latent_off_by_one": "latent L is the step of index L − 2, not L − 1",
    "step_size_law": "the step size at index i is multiplied by 100^(1 − i/(N − 1))",
    "silent_last_step": "each annealing level ends with one more step, without noise and without thresholding",
    "decode_deepest_code": "with clipping, decoding starts from the deepest code, not from the chosen latent",
    "noise_twice": "the input's noise is added twice",
    "encode_all": "all N latents are encoded, however shallow the chosen one; the evaluations count",
    "ddim_last_but_one": "without Langevin steps (the table's DDIM row) the last code but one is decoded as if it were the last",
    "input_unscaled": "the input is taken for x at t = 0, and is 1/√ᾱ_0 times as large in z as the image",
    "interpolated_quantile": "the threshold's quantile lies between two values, in proportion",
    "single_step_idle": "where a level has one Langevin step, nothing comes of it but its evaluation",
    "truncated_timesteps": "step i is at timestep i·⌊T/N⌋, not ⌊i·T/N⌋: where N does not divide T, the deepest are never reached",
    "shallow_alone": "the deepest latent alone is corrected where it is no more steps above the lowest than there are others",
    "std_schedule": "where several latents are corrected, step_size_law is √(1 − ᾱ_{N−1})/√(1 − ᾱ_i), i taken for a timestep",
}
PUBLISHED = frozenset(QUIRKS) - {"std_schedule"}  # which the notebook switches off
