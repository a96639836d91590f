"""What the owner does beside serving: the doctor, stop and status."""
