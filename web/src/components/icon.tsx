// All icons, as strokes on a 16 × 16 grid. Drawn here so that the console needs no icon font and no package.

const SHAPES = {
  dashboard: "M2.5 9.500a5.500 5.500 0 0 1 11 0M8 9.500l2.500-3M2.500 12.500h11",
  traces: "M2.500 4h7M4.500 8h7M6.500 12h7",
  policies: "M8 2l5 1.800v4c0 3-2.100 5.200-5 6.200-2.900-1-5-3.200-5-6.200v-4zM5.800 8l1.600 1.600 2.900-3.100",
  changes: "M3 8a5 5 0 1 0 1.600-3.700M3 2.500v2.300h2.300M8 5.200V8l1.900 1.300",
  settings: "M2.500 5h5M11 5h2.500M9.200 3.200v3.600M2.500 11h2M8 11h5.500M6.200 9.200v3.600",
  search: "M7 11.500a4.500 4.500 0 1 0 0-9 4.500 4.500 0 0 0 0 9zM10.300 10.300l3.200 3.200",
  clock: "M8 13.500a5.500 5.500 0 1 0 0-11 5.500 5.500 0 0 0 0 11zM8 5v3l2 1.500",
  sun: "M8 10.700a2.700 2.700 0 1 0 0-5.400 2.700 2.700 0 0 0 0 5.400zM8 1.500v1.300M8 13.200v1.300M1.500 8h1.300M13.200 8h1.300M3.400 3.400l.9.9M11.700 11.700l.9.9M3.400 12.600l.9-.9M11.700 4.300l.9-.9",
  moon: "M13 9.500A5.500 5.500 0 0 1 6.500 3 5.500 5.500 0 1 0 13 9.500z",
  help: "M8 13.500a5.500 5.500 0 1 0 0-11 5.500 5.500 0 0 0 0 11zM6.400 6.400a1.600 1.600 0 1 1 2.400 1.500c-.5.300-.8.600-.8 1.200M8 11.200v.1",
  close: "M4 4l8 8M12 4l-8 8",
  down: "M4.500 6.500L8 10l3.500-3.500",
  right: "M6.500 4.500L10 8l-3.500 3.500",
  left: "M9.500 4.500L6 8l3.500 3.500",
  arrow: "M3 8h10M9.500 4.500L13 8l-3.500 3.500",
  copy: "M6 6h7v7H6zM10 6V3H3v7h3",
  check: "M3.500 8.500l3 3 6-7",
  play: "M5 3.500l7.500 4.500L5 12.500z",
  pause: "M5.500 3.500v9M10.500 3.500v9",
  download: "M8 2.500v7.500M4.800 7L8 10.200 11.200 7M3 13.200h10",
  plus: "M8 3v10M3 8h10",
  trash: "M3 4.500h10M6.500 4.500V3h3v1.500M4.500 4.500l.600 8.500h5.800l.600-8.500",
  alert: "M8 2.500l6 10.500H2zM8 6.500v3M8 11.300v.1",
  ban: "M8 13.500a5.500 5.500 0 1 0 0-11 5.500 5.500 0 0 0 0 11zM4.100 4.100l7.800 7.800",
  swap: "M2.500 5.500h9.500M9.500 3l2.500 2.500L9.500 8M13.500 10.500H4M6.500 8L4 10.500 6.500 13",
  eye: "M1.500 8S4 3.800 8 3.800 14.500 8 14.500 8 12 12.200 8 12.200 1.500 8 1.500 8zM8 9.800a1.800 1.800 0 1 0 0-3.600 1.800 1.800 0 0 0 0 3.600z",
  key: "M5.500 10.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5zM8 8h6M12 8v2.200M14 8v1.500",
  out: "M9.500 2.500h-6v11h6M7 8h7M11.500 5.500L14 8l-2.500 2.500",
  more: "M3.500 8h.01M8 8h.01M12.500 8h.01",
  pencil: "M3 13l.700-3L11 2.700 13.300 5 6 12.300zM9.500 4.200l2.300 2.300",
  filter: "M2.500 4h11M4.500 8h7M6.500 12h3",
  bolt: "M9 1.800L3.500 9H8l-1 5.200L12.500 7H8z",
} as const;

export type IconName = keyof typeof SHAPES;

export function Icon({ name, size = 16, className = "" }: { name: IconName; size?: number; className?: string }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth={1.4}
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
      className={`shrink-0 ${className}`}
    >
      <path d={SHAPES[name]} />
    </svg>
  );
}
