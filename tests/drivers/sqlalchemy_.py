"""SQLAlchemy: Core and the ORM's unit of work, over psycopg, psycopg 2 and asyncpg."""

import asyncio

from sqlalchemy import ForeignKey, String, create_engine, exc, func, inspect, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload


def check(condition, what):
    if not condition:
        raise SystemExit(f"SQLAlchemy: {what}")


def equal(got, wanted, what):
    check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    books: Mapped[list["Book"]] = relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    author: Mapped[Author] = relationship(back_populates="books")


def core(engine):
    users = Base.metadata.tables.get("users")
    if users is None:
        from sqlalchemy import Table
        users = Table("users", Base.metadata, autoload_with=engine)
    equal([c.name for c in users.columns], ["id", "name", "born", "score", "tags", "extra"], "reflection")
    with engine.begin() as conn:
        equal(conn.scalar(select(func.count()).select_from(users)), 300, "a count")
        row = conn.execute(update(users).where(users.c.id == 4).values(name="user 4").returning(users.c.name)).one()
        equal(row.name, "user 4", "RETURNING")
        rows = conn.execution_options(stream_results=True, max_row_buffer=20).execute(select(users.c.id).order_by("id"))
        equal([row.id for row in rows], list(range(1, 301)), "a stream from a server-side cursor")
    try:
        with engine.begin() as conn:
            conn.execute(users.delete())
        check(False, "a DELETE without WHERE")
    except exc.DBAPIError as error:
        code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
        equal(code, "42501", "the refusal's SQLSTATE")
        check(not error.connection_invalidated, "the refusal closed the connection")
    with engine.connect() as conn:
        equal(conn.scalar(text("SELECT count(*) FROM users")), 300, "after the refusal")


def unit_of_work(engine):
    Base.metadata.create_all(engine, tables=[Author.__table__, Book.__table__])
    # Six sessions at once; each flush has its own prepared statements.
    sessions = [Session(engine) for _ in range(2)]
    for number, session in enumerate(sessions):
        author = Author(name=f"author {number}", books=[Book(title=f"book {n}") for n in range(50)])
        session.add(author)
        session.commit()
    for session in sessions:
        authors = session.scalars(select(Author).options(selectinload(Author.books)).order_by(Author.id)).all()
        check(len(authors) >= 2 and all(len(author.books) == 50 for author in authors), "authors and books")
        session.rollback()
    session = sessions[0]
    author = session.scalars(select(Author).order_by(Author.id)).first()
    author.name = "renamed"
    author.books[0].title = "retitled"
    with session.begin_nested() as savepoint:
        session.add(Book(title="rolled back", author=author))
        session.flush()
        savepoint.rollback()
    session.delete(author.books[1])
    session.commit()
    equal(len(author.books), 49, "an orphan deleted, a savepoint rolled back")
    for author in session.scalars(select(Author)):
        session.delete(author)
    session.commit()
    equal(session.scalar(select(func.count()).select_from(Book)), 0, "cascaded")
    for session in sessions:
        session.close()


def schema(engine):
    looked = inspect(engine)
    check({"users", "notes"} <= set(looked.get_table_names()), "table names")
    equal(looked.get_pk_constraint("users")["constrained_columns"], ["id"], "a primary key")
    equal(looked.get_foreign_keys("notes")[0]["referred_table"], "users", "a foreign key")


async def asynchronous():
    engine = create_async_engine("postgresql+asyncpg://", pool_size=4)

    async def work(number):
        async with AsyncSession(engine) as session:
            for step in range(10):
                async with session.begin():
                    session.add(Author(name=f"async {number}", books=[Book(title=f"step {step}")]))
            count = await session.scalar(select(func.count()).where(Author.name == f"async {number}"))
            equal(count, 10, "authors of one task")

    await asyncio.gather(*(work(number) for number in range(6)))
    async with engine.connect() as conn:
        await conn.run_sync(lambda sync: equal(sync.scalar(text("SELECT 1")), 1, "run_sync"))
        found = [row.id async for row in await conn.stream(text("SELECT id FROM users ORDER BY id"))]
        equal(len(found), 300, "an asynchronous stream")
        try:
            await conn.execute(text("DELETE FROM users"))
            check(False, "a DELETE without WHERE")
        except exc.DBAPIError as error:
            equal(error.orig.sqlstate, "42501", "the refusal's SQLSTATE")
            await conn.rollback()
        equal(await conn.scalar(text("SELECT count(*) FROM users")), 300, "after the refusal")
    await engine.dispose()


for dialect in ("psycopg", "psycopg2"):
    engine = create_engine(f"postgresql+{dialect}://", pool_size=4)
    for part in (core, unit_of_work, schema):
        part(engine)
        print(dialect, part.__name__)
    engine.dispose()
asyncio.run(asynchronous())
print("asyncpg")
print("fine")
