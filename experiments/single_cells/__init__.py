"""Single cells: blood cells of one type carried to another, in 50 principal components, unpaired."""
