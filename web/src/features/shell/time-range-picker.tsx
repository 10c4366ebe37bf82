// Chooses the period of a page: a preset, or two points in time in the browser's time zone. The URL holds it.
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { Button, buttonClass } from "@/components/button";
import { TextField } from "@/components/field";
import { Popover } from "@/components/floating";
import { Icon } from "@/components/icon";
import { minute } from "@/lib/format";
import {
  DEFAULT_PRESET,
  isRelative,
  localInput,
  PRESETS,
  type Preset,
  period,
  type RangeSearch,
} from "@/lib/time-range";

const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

export function useSetRange() {
  const navigate = useNavigate();
  return (range: RangeSearch) =>
    navigate({
      to: ".",
      search: (before: Record<string, unknown>) => ({
        ...before,
        range: undefined,
        from: undefined,
        to: undefined,
        page: undefined,
        ...range,
      }),
    } as never);
}

export function rangeLabel(search: RangeSearch): string {
  if (search.from && search.to) return `${minute(search.from)} – ${minute(search.to)}`;
  return PRESETS[search.range ?? DEFAULT_PRESET].label;
}

export function TimeRangePicker({ search }: { search: RangeSearch }) {
  const [open, setOpen] = useState(false);
  const setRange = useSetRange();
  const choose = (range: RangeSearch) => {
    setRange(range);
    setOpen(false);
  };
  return (
    <Popover
      label="Period"
      open={open}
      onOpenChange={setOpen}
      className="w-64 p-1.5"
      trigger={
        <button type="button" className={buttonClass("line")}>
          <Icon name="clock" size={14} className="text-faint" />
          {rangeLabel(search)}
          <Icon name="down" size={14} className="text-faint" />
        </button>
      }
    >
      {(Object.keys(PRESETS) as Preset[]).map((preset) => {
        const selected = isRelative(search) && (search.range ?? DEFAULT_PRESET) === preset;
        return (
          <button
            key={preset}
            type="button"
            aria-pressed={selected}
            onClick={() => choose(preset === DEFAULT_PRESET ? {} : { range: preset })}
            className={`flex h-8 w-full items-center justify-between rounded-md px-2.5 hover:bg-hover ${selected ? "text-accent" : "text-ink"}`}
          >
            {PRESETS[preset].label}
            {selected && <Icon name="check" size={14} />}
          </button>
        );
      })}
      <CustomRange search={search} onChoose={choose} />
    </Popover>
  );
}

function CustomRange({ search, onChoose }: { search: RangeSearch; onChoose: (range: RangeSearch) => void }) {
  const { from, to } = period(search);
  const [error, setError] = useState("");
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const [start, end] = [new Date(String(form.get("from"))), new Date(String(form.get("to")))];
    if (!(start < end)) return setError("The start must be before the end.");
    onChoose({ from: start.toISOString(), to: end.toISOString() });
  };
  return (
    <form onSubmit={submit} className="mt-1.5 flex flex-col gap-2 border-t border-line px-1 pt-2.5 pb-1">
      <TextField label="From" name="from" type="datetime-local" required defaultValue={localInput(from)} />
      <TextField
        label="To"
        name="to"
        type="datetime-local"
        required
        defaultValue={localInput(to)}
        error={error || undefined}
        hint={`Times are in ${ZONE}.`}
      />
      <Button type="submit">Apply</Button>
    </form>
  );
}
