"""White noise -> CIFAR-10 by class, read by a classifier that is trained here."""
