create table orders (
    id         bigint      generated always as identity primary key,
    item       text        not null,
    created_at timestamptz not null default now()
);
