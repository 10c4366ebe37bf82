// A small line chart without axes. It is decoration: screen readers read the number beside it.

const HEIGHT = 28;
const WIDTH = 100;

export function Sparkline({
  values,
  tone = "text-faint",
  className = "h-7 w-full",
}: {
  values: (number | null)[];
  tone?: string;
  className?: string;
}) {
  const known = values.map((value) => value ?? 0);
  const top = Math.max(...known, 0);
  if (known.length < 2) return <div className={className} />;
  const x = (index: number) => (index / (known.length - 1)) * WIDTH;
  const y = (value: number) => HEIGHT - 1 - (top === 0 ? 0 : (value / top) * (HEIGHT - 3));
  const line = known
    .map((value, index) => `${index === 0 ? "M" : "L"}${x(index).toFixed(2)} ${y(value).toFixed(2)}`)
    .join("");
  return (
    <svg
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      aria-hidden="true"
      focusable="false"
      className={`block ${tone} ${className}`}
    >
      <path d={`${line}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z`} fill="currentColor" opacity={0.1} />
      <path
        d={line}
        fill="none"
        stroke="currentColor"
        strokeWidth={1.25}
        vectorEffect="non-scaling-stroke"
        strokeLinejoin="round"
      />
    </svg>
  );
}
