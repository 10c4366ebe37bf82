// A switch that takes effect at once.
import { Switch as Radix } from "radix-ui";

export function Switch({
  checked,
  onChange,
  label,
  disabled,
}: {
  checked: boolean;
  onChange: (checked: boolean) => void;
  label: string;
  disabled?: boolean;
}) {
  return (
    <Radix.Root
      checked={checked}
      onCheckedChange={onChange}
      disabled={disabled}
      aria-label={label}
      className="h-[18px] w-8 shrink-0 rounded-full border border-edge bg-hover transition-colors data-[state=checked]:border-accent data-[state=checked]:bg-accent disabled:opacity-50"
    >
      <Radix.Thumb className="block size-3 translate-x-[2px] rounded-full bg-soft transition-transform data-[state=checked]:translate-x-[15px] data-[state=checked]:bg-accent-ink" />
    </Radix.Root>
  );
}
