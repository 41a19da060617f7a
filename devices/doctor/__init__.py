"""What would keep a device from serving: one check a question, each with its remedy. None of them changes anything."""
