// The facets: the most frequent values of each filter within the current filter, with their counts.
import { useQuery } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import type { Schemas } from "@/api/client";
import { facets } from "@/api/queries";
import { Button, buttonClass } from "@/components/button";
import { TextField } from "@/components/field";
import { Popover } from "@/components/floating";
import { Icon } from "@/components/icon";
import { Failure, Loading } from "@/components/states";
import { compact } from "@/lib/format";
import {
  FILTER_LABELS,
  IDENTITY_FIELDS,
  setUnnamed,
  type TraceFilter,
  type TracesSearch,
  unnamedFields,
} from "@/lib/search";
import { useSetFilter } from "./filter-bar";

const SHOWN = ["agent_name", "user_id", "model", "provider", "tenant_id", "status"] as const;
/** Most values per filter. Arbitrary: further ones are found by searching. */
const VALUES_MAX = 8;

export function FacetPicker({ search }: { search: TracesSearch }) {
  const [open, setOpen] = useState(false);
  return (
    <Popover
      label="Filters"
      open={open}
      onOpenChange={setOpen}
      align="start"
      className="w-[640px] p-4"
      trigger={
        <button type="button" className={buttonClass("line")}>
          <Icon name="filter" size={14} className="text-faint" />
          Filter
        </button>
      }
    >
      <Facets search={search} />
    </Popover>
  );
}

function Facets({ search }: { search: TracesSearch }) {
  const { data, error, refetch } = useQuery(facets(search));
  const setFilter = useSetFilter();
  if (error && !data) return <Failure error={error} retry={() => refetch()} />;
  if (!data) return <Loading rows={5} />;
  return (
    <div className="flex flex-col gap-5">
      <div className="grid grid-cols-2 gap-x-5 gap-y-4 sm:grid-cols-3">
        {SHOWN.map((name) => (
          <Group
            key={name}
            name={name}
            values={data[name]}
            selected={unnamedFields(search).some((it) => it === name) ? "" : search[name]}
            onSelect={(value) => {
              const identityField = IDENTITY_FIELDS.find((it) => it === name);
              setFilter(
                identityField && (value ?? "") === ""
                  ? { ...setUnnamed(search, identityField, value === ""), [name]: undefined }
                  : { [name]: value },
              );
            }}
          />
        ))}
      </div>
      <MinimumForm search={search} onChange={setFilter} />
    </div>
  );
}

type GroupProps = {
  name: (typeof SHOWN)[number];
  values: Schemas["Facet"][];
  selected: string | undefined;
  onSelect: (value: string | undefined) => void;
};

function Group({ name, values, selected, onSelect }: GroupProps) {
  return (
    <section>
      <h3 className="mb-1 eyebrow">{FILTER_LABELS[name]}</h3>
      {values.length === 0 && <p className="text-faint">none</p>}
      {values.slice(0, VALUES_MAX).map(({ value, count }) =>
        value === "" && !IDENTITY_FIELDS.some((it) => it === name) ? (
          // Such requests reached no provider. The status tabs filter those, so this is not a button.
          <p key="" className="flex h-7 items-center justify-between gap-2 px-1.5 text-faint">
            none<span className="text-xs">{compact(count)}</span>
          </p>
        ) : (
          <button
            key={value}
            type="button"
            aria-pressed={value === selected}
            onClick={() => onSelect(value === selected ? undefined : value)}
            className={`flex h-7 w-full items-center justify-between gap-2 rounded-md px-1.5 text-left hover:bg-hover ${value === selected ? "bg-accent-wash text-accent" : ""}`}
          >
            <span title={value} className={`untrusted ${value === "" ? "text-soft" : ""}`}>
              {value || "not set"}
            </span>
            <span className="text-xs text-faint">{compact(count)}</span>
          </button>
        ),
      )}
    </section>
  );
}

function MinimumForm({ search, onChange }: { search: TracesSearch; onChange: (change: Partial<TraceFilter>) => void }) {
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const number = (name: string) => Number(form.get(name)) || undefined;
    onChange({ min_cost: number("min_cost"), min_ms: number("min_ms") });
  };
  return (
    <form
      onSubmit={submit}
      className="grid grid-cols-2 items-end gap-3 border-t border-line pt-4 sm:grid-cols-[1fr_1fr_auto]"
    >
      <TextField
        label="Minimum cost, in dollars"
        name="min_cost"
        type="number"
        min="0"
        step="any"
        defaultValue={search.min_cost ?? ""}
        placeholder="0.01"
      />
      <TextField
        label="Minimum duration, in ms"
        name="min_ms"
        type="number"
        min="0"
        step="1"
        defaultValue={search.min_ms ?? ""}
        placeholder="1000"
      />
      <Button type="submit">Apply</Button>
    </form>
  );
}
