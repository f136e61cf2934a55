"""What apps on the device get from its signals: features, scores, segments, flags. Pure: no store, no edge."""
