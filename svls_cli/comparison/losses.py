"""The losses that a comparison trains with."""

# Weight of the Dice loss beside the cross-entropy's 1, by the name of the loss.
LOSSES = {"ce": 0.0, "ce+dice": 1.0}
