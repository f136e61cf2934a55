"""What apps on the device get from its signals: features, scores, segments, flags. Pure; imports no store and no edge."""
