"""Few steps: quality of every method at 1 to 8 evaluations a line, by equal and by placed steps, and after reflow."""
