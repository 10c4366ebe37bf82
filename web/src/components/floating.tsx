// A popover and a menu, which open beside their button. Neither blocks the page.
import { DropdownMenu, Popover as RadixPopover } from "radix-ui";
import type { ReactNode } from "react";
import { Icon, type IconName } from "./icon";

const PANEL =
  "z-50 max-h-[var(--radix-popper-available-height)] max-w-[calc(100vw-16px)] animate-appear overflow-y-auto rounded-lg border border-edge bg-raised shadow-float outline-none";

export function Popover({
  trigger,
  label,
  children,
  className = "w-72 p-3",
  open,
  onOpenChange,
  align = "end",
}: {
  trigger: ReactNode;
  label: string;
  children: ReactNode;
  className?: string;
  open?: boolean;
  onOpenChange?: (open: boolean) => void;
  align?: "start" | "end";
}) {
  return (
    <RadixPopover.Root open={open} onOpenChange={onOpenChange}>
      <RadixPopover.Trigger asChild>{trigger}</RadixPopover.Trigger>
      <RadixPopover.Portal>
        <RadixPopover.Content
          aria-label={label}
          align={align}
          sideOffset={6}
          collisionPadding={8}
          className={`${PANEL} ${className}`}
        >
          {children}
        </RadixPopover.Content>
      </RadixPopover.Portal>
    </RadixPopover.Root>
  );
}

export function Menu({ trigger, children }: { trigger: ReactNode; children: ReactNode }) {
  return (
    <DropdownMenu.Root modal={false}>
      <DropdownMenu.Trigger asChild>{trigger}</DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content align="end" sideOffset={6} collisionPadding={8} className={`${PANEL} min-w-48 p-1`}>
          {children}
        </DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
  );
}

export function MenuItem({
  icon,
  children,
  onSelect,
  danger = false,
  checked,
}: {
  icon?: IconName;
  children: ReactNode;
  onSelect: () => void;
  danger?: boolean;
  checked?: boolean;
}) {
  return (
    <DropdownMenu.Item
      onSelect={onSelect}
      className={`flex h-8 cursor-pointer items-center gap-2.5 rounded-md px-2.5 outline-none data-[highlighted]:bg-hover ${danger ? "text-bad" : "text-ink"}`}
    >
      {icon && <Icon name={icon} size={14} className="text-faint" />}
      <span className="flex-1">{children}</span>
      {checked && <Icon name="check" size={14} className="text-accent" />}
    </DropdownMenu.Item>
  );
}
