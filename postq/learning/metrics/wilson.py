"""Wilson's score interval for a share."""

import math

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


def wilson_interval(hits: float, trials: float, *, z: float = Z95) -> tuple[float, float] | None:
    """Interval for hits / trials (Wilson 1927); None without trials. Sane at 0, at 1 and for few trials."""
    if not trials:
        return None
    share = hits / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
