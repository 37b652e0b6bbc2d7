"""Bundle adjustment: camera path, focal length, points and depth scales that explain tracks best.

Levenberg-Marquardt on the Schur complement of the points (Triggs et al., Bundle Adjustment - A Modern Synthesis,
1999), robust by Huber's norm, with analytic derivatives. An object that moves rigidly is a still scene in its own
frame, so the same solver finds its poses.
"""
