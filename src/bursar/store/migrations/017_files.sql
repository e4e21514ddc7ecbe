-- Files of Anthropic's and Gemini's beside OpenAI's: by whose protocol each is kept, and what it holds.

alter table files add column protocol smallint not null default 21;      -- of batches: OpenAI's 21, Anthropic's 22, Gemini's 23
alter table files add column media_type text not null default '';        -- as its provider says; empty where nobody asked
