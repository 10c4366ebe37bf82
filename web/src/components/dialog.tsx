// A modal dialog. It traps focus, closes on Escape, and returns focus to where it was.
import { Dialog as Radix } from "radix-ui";
import type { ReactNode } from "react";
import { IconButton } from "./button";

type Props = {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  title: string;
  hiddenTitle?: boolean;
  children: ReactNode;
  className?: string;
};

export function Dialog({ open, onOpenChange, title, hiddenTitle = false, children, className = "max-w-lg" }: Props) {
  return (
    <Radix.Root open={open} onOpenChange={onOpenChange}>
      <Radix.Portal>
        <Radix.Overlay className="fixed inset-0 z-40 bg-ground opacity-70" />
        <Radix.Content
          aria-describedby={undefined}
          className={`fixed inset-x-3 top-[12vh] z-50 mx-auto flex max-h-[76vh] animate-appear flex-col overflow-hidden rounded-lg border border-edge bg-raised shadow-float outline-none ${className}`}
        >
          {hiddenTitle ? (
            <Radix.Title className="sr-only">{title}</Radix.Title>
          ) : (
            <div className="flex items-center justify-between border-b border-line py-2 pr-2 pl-4">
              <Radix.Title className="text-md font-medium">{title}</Radix.Title>
              <Radix.Close asChild>
                <IconButton icon="close" label="Close" />
              </Radix.Close>
            </div>
          )}
          {children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
