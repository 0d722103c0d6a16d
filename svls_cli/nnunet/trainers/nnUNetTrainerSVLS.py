"""Where nnU-Net finds its trainer on soft labels: ``nnUNet_extTrainer``."""

from svls_cli.nnunet.trainer import nnUNetTrainerSVLS

__all__ = ["nnUNetTrainerSVLS"]
