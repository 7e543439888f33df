"""The world of the toy prior: captions, what they mean, pictures of that, and how a prior learns from them."""
