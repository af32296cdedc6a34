"""Encoders: fine-tuning and scoring with any Hugging Face encoder. Importing this room loads no torch."""
