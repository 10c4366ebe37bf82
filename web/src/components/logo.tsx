// luner's logo: a crescent with a point of light in its opening.

export function Logo({ size = 24 }: { size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 32 32"
      aria-hidden="true"
      focusable="false"
      className="shrink-0 text-accent"
    >
      <path fill="currentColor" d="M19.400 3.500A12.800 12.800 0 1 0 28.600 20.600 10.400 10.400 0 1 1 19.400 3.500Z" />
      <circle cx="24" cy="10.500" r="1.900" fill="currentColor" />
    </svg>
  );
}
