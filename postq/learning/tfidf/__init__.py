"""TF-IDF features with one logistic regression per label, solved and scored for all labels at once."""
