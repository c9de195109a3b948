"""What each command does: sample, complete, evaluate, study, demonstrate."""
