"""Whether synthetic series help forecasters: arms, scores, do-no-harm."""
