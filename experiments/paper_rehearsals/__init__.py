"""The paper's runs at full network size for twenty steps: each trains, stops, goes on, draws, scores and is given away."""
