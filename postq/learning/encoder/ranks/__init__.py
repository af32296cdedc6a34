"""The processes of one training: started together, agreeing on every step, ended together."""
