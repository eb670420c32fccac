"""Speed, as ratios to limits measured in the same run: absolute figures mean nothing on another machine."""
