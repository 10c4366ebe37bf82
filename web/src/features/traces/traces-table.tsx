// The list itself: one line a trace, chosen by keys or pointer.
import { flexRender, getCoreRowModel, type Row, useReactTable } from "@tanstack/react-table";
import { memo, useMemo } from "react";
import type { Schemas } from "@/api/client";
import { type ColumnLook, columns } from "./columns";

type Item = Schemas["TraceItem"];
type Props = {
  items: Item[];
  search: Record<string, unknown>;
  chosen: string | null;
  onChoose: (id: string) => void;
  onOpen: (id: string) => void;
  glow: boolean;
};

/** The longest of the page in steps of a power of two, so that rows need not be drawn anew for each new one. */
function longestOf(items: Item[]): number {
  const longest = Math.max(...items.map((it) => it.duration_ms), 1);
  return 2 ** Math.ceil(Math.log2(longest));
}

export function TracesTable({ items, search, chosen, onChoose, onOpen, glow }: Props) {
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
              const look = header.column.columnDef.meta as ColumnLook;
              return (
                <th
                  key={header.id}
                  scope="col"
                  style={{ width: look.width }}
                  className={`h-8 px-2 font-normal last:pr-6 [&:nth-child(2)]:pl-6 ${look.cell.replace(/text-(soft|cost)/, "")}`}
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
          <Line
            key={row.id}
            row={row}
            item={row.original}
            shape={shape}
            chosen={row.id === chosen}
            onChoose={onChoose}
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
  chosen: boolean;
  onChoose: (id: string) => void;
  onOpen: (id: string) => void;
  glow: boolean;
};

const Line = memo(
  function Line({ row, item, chosen, onOpen, onChoose, glow }: LineProps) {
    return (
      // By keys: j, k and Enter work on the list, and the time is a link.
      <tr
        id={`trace-${item.trace_id}`}
        aria-current={chosen || undefined}
        onClick={(event) => {
          if (event.defaultPrevented || event.metaKey || event.ctrlKey) return;
          onChoose(item.trace_id);
          onOpen(item.trace_id);
        }}
        className={`group cursor-pointer scroll-mt-24 border-b border-line hover:bg-hover aria-[current]:bg-accent-wash ${glow ? "animate-glow" : ""}`}
      >
        {row.getVisibleCells().map((cell) => (
          <td
            key={cell.id}
            className={`h-[34px] px-2 py-1.5 align-middle first:pl-4 last:pr-4 md:py-0 md:[&:nth-child(2)]:pl-6 md:last:pr-6 ${(cell.column.columnDef.meta as ColumnLook).cell}`}
          >
            {flexRender(cell.column.columnDef.cell, cell.getContext())}
          </td>
        ))}
      </tr>
    );
  },
  (before, after) =>
    before.item === after.item &&
    before.chosen === after.chosen &&
    before.shape === after.shape &&
    before.onOpen === after.onOpen,
);
