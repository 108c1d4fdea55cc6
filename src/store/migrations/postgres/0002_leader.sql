-- Which master decides. Its epoch grows with every new leader; its beat shows that it lives. Whether a master may write is
-- not decided here but by the journal's head: this row only says who should try.

CREATE TABLE leader (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    epoch BIGINT NOT NULL,
    master TEXT COLLATE "C" NOT NULL,            -- who it is, as it calls itself: a name of its own for every start
    address TEXT COLLATE "C" NOT NULL,           -- where other masters reach it, as a URL; empty if they cannot
    beat BIGINT NOT NULL            -- grows while it lives
);
INSERT INTO leader (one, epoch, master, address, beat) VALUES (1, 0, '', '', 0);
