"""`postq bundles` and `postq rethreshold`: trained models, what is made of them, how far to trust them."""
