"""The plot of bench.backup: bars, one group for each step."""

from __future__ import annotations

COLOURS = ("#2e8b57", "#c62828", "#8d6e63", "#1565c0", "#f9a825")


def plot(seconds: dict[str, dict[str, float]]) -> str:
    """Return an SVG with a bar for each way in each step; each step has a scale of its own.

    Args:
        seconds: way to step to seconds.
    """
    left, width, bar, gap = 190, 480, 18, 30
    lines, y = [], 34
    for step in next(iter(seconds.values())):
        longest = max(steps[step] for steps in seconds.values())
        lines.append(f'<text x="12" y="{y + 12}" font-weight="bold">{step}</text>')
        y += 20
        for (way, steps), colour in zip(seconds.items(), COLOURS):
            length = max(1.0, steps[step] / longest * width)
            lines.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{way}</text>')
            lines.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar - 3}" fill="{colour}"/>')
            lines.append(f'<text x="{left + length + 6:.1f}" y="{y + 13}">{steps[step]:.1f} s</text>')
            y += bar
        y += gap - bar
    title = "Backup and restore: seconds, less is better; each group has its own scale"
    body = "\n  ".join(lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 70} {y + 6}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="12">\n  <title>{title}</title>\n'
        f'  <rect width="{left + width + 70}" height="{y + 6}" fill="#fff"/>\n'
        f'  <text x="12" y="18">{title}</text>\n  {body}\n</svg>\n'
    )
