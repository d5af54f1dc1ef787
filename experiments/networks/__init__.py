"""Which network learns most in a minute: U-Net, transformer and perceptron, each for the same minutes of this machine."""
