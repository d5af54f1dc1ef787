"""The effect of the gap: exact and learned fields of every recipe of charges, from narrow to wide."""
