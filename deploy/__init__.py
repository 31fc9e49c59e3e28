"""What runs Plan B somewhere. Tools beside the product: nothing of it is imported by a datacenter."""
