"""What a run says of itself: busy clocks, the step log, the live view, the summary."""
