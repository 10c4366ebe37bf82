// Buttons, and the class that makes links look like them.
import type { ComponentProps } from "react";
import { Icon, type IconName } from "./icon";

const KINDS = {
  solid: "bg-accent text-accent-ink hover:brightness-110 font-medium",
  line: "border border-edge text-ink hover:bg-hover",
  ghost: "text-soft hover:text-ink hover:bg-hover",
  danger: "border border-edge text-bad hover:bg-bad-wash",
};

type Look = { kind?: keyof typeof KINDS; icon?: IconName };

export function buttonClass(kind: keyof typeof KINDS = "line", more = ""): string {
  return `inline-flex h-8 shrink-0 items-center justify-center gap-1.5 rounded-md px-2.5 text-sm whitespace-nowrap select-none transition-colors disabled:opacity-50 ${KINDS[kind]} ${more}`;
}

export function Button({
  kind = "line",
  icon,
  className = "",
  children,
  type = "button",
  ...rest
}: ComponentProps<"button"> & Look) {
  return (
    <button type={type} className={buttonClass(kind, className)} {...rest}>
      {icon && <Icon name={icon} size={14} />}
      {children}
    </button>
  );
}

/** A button without text. Screen readers read its label; hovering shows the hint, or else the label. */
export function IconButton({
  icon,
  label,
  className = "",
  hint,
  type = "button",
  ...rest
}: Omit<ComponentProps<"button">, "children"> & { icon: IconName; label: string; hint?: string }) {
  return (
    <button
      type={type}
      aria-label={label}
      title={hint ?? label}
      className={`inline-flex size-8 shrink-0 items-center justify-center rounded-md text-soft transition-colors hover:bg-hover hover:text-ink disabled:opacity-40 disabled:hover:bg-transparent ${className}`}
      {...rest}
    >
      <Icon name={icon} size={15} />
    </button>
  );
}

export function Kbd({ children }: { children: string }) {
  return (
    <kbd className="inline-flex h-[18px] min-w-[18px] items-center justify-center rounded-sm border border-line px-1 font-sans text-2xs text-faint">
      {children}
    </kbd>
  );
}
