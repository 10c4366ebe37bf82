// The table of traces: one row per trace, selected by keyboard or pointer.
import { flexRender, getCoreRowModel, type Row, useReactTable } from "@tanstack/react-table";
import { memo, useMemo } from "react";
import type { Schemas } from "@/api/client";
import { type ColumnStyle, columns } from "./columns";

type Item = Schemas["TraceItem"];
type Props = {
  items: Item[];
  search: Record<string, unknown>;
  selected: string | null;
  onSelect: (id: string) => void;
  onOpen: (id: string) => void;
  glow: boolean;
};

/** The longest duration on the page, rounded up to a power of two so that a new row seldom redraws all others. */
function longestOf(items: Item[]): number {
  const longest = Math.max(...items.map((it) => it.duration_ms), 1);
  return 2 ** Math.ceil(Math.log2(longest));
}

export function TracesTable({ items, search, selected, onSelect, onOpen, glow }: Props) {
  const longest = longestOf(items);
  const shape = useMemo(() => columns(longest, search), [longest, search]);
  const table = useReactTable({
    data: items,
    columns: shape,
    getCoreRowModel: getCoreRowModel(),
    getRowId: (it) => it.trace_id,
  });
  return (
    <table aria-label="Traces" className="w-full table-fixed border-collapse">
      <thead className="sticky top-14 z-10 hidden bg-ground md:table-header-group">
        {table.getHeaderGroups().map((group) => (
          <tr key={group.id} className="border-b border-line text-left text-xs text-faint">
            {group.headers.map((header) => {
              const style = header.column.columnDef.meta as ColumnStyle;
              return (
                <th
                  key={header.id}
                  scope="col"
                  style={{ width: style.width }}
                  className={`h-8 px-2 font-normal last:pr-6 [&:nth-child(2)]:pl-6 ${style.cell.replace(/text-(soft|cost)/, "")}`}
                >
                  {flexRender(header.column.columnDef.header, header.getContext())}
                </th>
              );
            })}
          </tr>
        ))}
      </thead>
      <tbody>
        {table.getRowModel().rows.map((row) => (
          <TraceRow
            key={row.id}
            row={row}
            item={row.original}
            shape={shape}
            selected={row.id === selected}
            onSelect={onSelect}
            onOpen={onOpen}
            glow={glow}
          />
        ))}
      </tbody>
    </table>
  );
}

type LineProps = {
  row: Row<Item>;
  item: Item;
  shape: unknown;
  selected: boolean;
  onSelect: (id: string) => void;
  onOpen: (id: string) => void;
  glow: boolean;
};

const TraceRow = memo(
  function TraceRow({ row, item, selected, onOpen, onSelect, glow }: LineProps) {
    return (
      // Keyboard access: j, k and Enter work on the list, and the time is a link.
      <tr
        id={`trace-${item.trace_id}`}
        aria-current={selected || undefined}
        onClick={(event) => {
          if (event.defaultPrevented || event.metaKey || event.ctrlKey) return;
          onSelect(item.trace_id);
          onOpen(item.trace_id);
        }}
        className={`group cursor-pointer scroll-mt-24 border-b border-line hover:bg-hover aria-[current]:bg-accent-wash ${glow ? "animate-glow" : ""}`}
      >
        {row.getVisibleCells().map((cell) => (
          <td
            key={cell.id}
            className={`h-[34px] px-2 py-1.5 align-middle first:pl-4 last:pr-4 md:py-0 md:[&:nth-child(2)]:pl-6 md:last:pr-6 ${(cell.column.columnDef.meta as ColumnStyle).cell}`}
          >
            {flexRender(cell.column.columnDef.cell, cell.getContext())}
          </td>
        ))}
      </tr>
    );
  },
  (before, after) =>
    before.item === after.item &&
    before.selected === after.selected &&
    before.shape === after.shape &&
    before.onOpen === after.onOpen,
);
