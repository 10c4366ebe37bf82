// A choice of one among a few options side by side. Arrow keys move between them.
import { ToggleGroup } from "radix-ui";

type Option<T extends string> = { value: T; label: string; hint?: string };

export function Segmented<T extends string>({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: T;
  options: readonly Option<T>[];
  onChange: (value: T) => void;
}) {
  return (
    <ToggleGroup.Root
      type="single"
      aria-label={label}
      value={value}
      onValueChange={(next) => next && onChange(next as T)}
      className="inline-flex max-w-full overflow-x-auto rounded-md border border-line p-0.5"
    >
      {options.map((option) => (
        <ToggleGroup.Item
          key={option.value}
          value={option.value}
          title={option.hint}
          className="h-7 shrink-0 rounded-sm px-2.5 text-xs text-soft transition-colors hover:text-ink data-[state=on]:bg-accent-wash data-[state=on]:text-accent"
        >
          {option.label}
        </ToggleGroup.Item>
      ))}
    </ToggleGroup.Root>
  );
}
