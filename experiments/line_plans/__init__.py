"""Exact field lines as a transport plan: what they cost compared with the optimal plan, and how their time grows."""
