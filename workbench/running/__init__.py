"""What every long run needs: progress that is seen, an interrupt that ends it in order, a garbage collector out of the way."""
