// Form fields with a label, and a hint or an error below.
import { type ComponentProps, type ReactNode, useId } from "react";

export const INPUT =
  "w-full rounded-md border border-edge bg-ground px-2.5 text-sm text-ink placeholder:text-faint aria-[invalid=true]:border-bad";

type Frame = { label: string; hint?: ReactNode; error?: string };

export function Field({
  label,
  hint,
  error,
  children,
}: Frame & {
  children: (ids: { id: string; "aria-describedby": string | undefined; "aria-invalid": boolean }) => ReactNode;
}) {
  const id = useId();
  const about = `${id}-about`;
  return (
    <div className="flex min-w-0 flex-col gap-1">
      <label htmlFor={id} className="text-xs font-medium text-soft">
        {label}
      </label>
      {children({ id, "aria-describedby": hint || error ? about : undefined, "aria-invalid": Boolean(error) })}
      {(hint || error) && (
        <p id={about} className={`text-xs ${error ? "text-bad" : "text-faint"}`}>
          {error ?? hint}
        </p>
      )}
    </div>
  );
}

export function TextField({ label, hint, error, className = "", ...rest }: ComponentProps<"input"> & Frame) {
  return (
    <Field label={label} hint={hint} error={error}>
      {(ids) => (
        <input
          type="text"
          autoComplete="off"
          spellCheck={false}
          className={`${INPUT} h-8 ${className}`}
          {...ids}
          {...rest}
        />
      )}
    </Field>
  );
}
