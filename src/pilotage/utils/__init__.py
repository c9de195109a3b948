"""What every floor may use: files, images, seeding, processes, progress, signals."""
