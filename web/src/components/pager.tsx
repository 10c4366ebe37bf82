// Buttons for the previous and next page of a list.
import { count } from "@/lib/format";
import { IconButton } from "./button";

type Props = { page: number; pageSize: number; total: number; onPage: (page: number) => void };

export function pageCount(total: number, pageSize: number): number {
  return Math.max(1, Math.ceil(total / pageSize));
}

export function Pager({ page, pageSize, total, onPage }: Props) {
  const pages = pageCount(total, pageSize);
  if (pages === 1) return null;
  const [first, last] = [(page - 1) * pageSize + 1, Math.min(page * pageSize, total)];
  return (
    <nav aria-label="Pagination" className="flex items-center justify-end gap-2 px-4 py-3 text-soft sm:px-6">
      <span>{`${count(first)}–${count(last)} of ${count(total)}`}</span>
      <IconButton
        icon="left"
        label="Previous page"
        hint="Previous page ([)"
        disabled={page <= 1}
        onClick={() => onPage(page - 1)}
      />
      <IconButton
        icon="right"
        label="Next page"
        hint="Next page (])"
        disabled={page >= pages}
        onClick={() => onPage(page + 1)}
      />
    </nav>
  );
}
