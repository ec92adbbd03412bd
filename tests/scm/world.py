"""What a provider knows: one repository with its people, pull requests and comments.

Each provider's routes in tests/scm/providers show this world in that provider's own words and rules.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline_step.scm import Role

START = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)


def sha(*words: object) -> str:
    """A made-up commit."""
    return hashlib.sha1(" ".join(map(str, words)).encode(), usedforsecurity=False).hexdigest()


@dataclass
class User:
    """`id` is how the provider's API knows the user; it stands in `Comment.author`."""

    login: str
    role: Role
    number: int
    active: bool = True

    @property
    def uuid(self) -> str:
        """A UUID, for providers that know users by one."""
        return f"00000000-0000-4000-8000-{self.number:012d}"


@dataclass
class Note:
    id: int
    author: User
    body: str
    pull: int
    version: int = 0
    edited: bool = False
    reactions: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Review:
    """Someone's word on a commit: approved, rejected or commented."""

    author: User
    word: str
    commit: str


@dataclass
class Pull:
    number: int
    author: User
    head: str
    branch: str = "feature"
    base_branch: str = "main"
    title: str = "A change"
    state: str = "open"
    fork: bool = False
    labels: tuple[str, ...] = ("canary",)
    merge_commit: str = ""
    version: int = 3
    files: tuple[tuple[str, str], ...] = (("src/app.py", "src/app.py"), ("docs/new name.md", "docs/old.md"))
    reviews: list[Review] = field(default_factory=list)

    def last_words(self) -> list[Review]:
        """Each person's last review, in the order of people's first; a comment is no word."""
        last = {review.author.login: review for review in self.reviews if review.word != "commented"}
        return list(last.values())


@dataclass
class World:
    """The repository acme/shop with `bot` as the token's user.

    `contents` are the files of the base branch, `proposed` those that every pull request would have.
    """

    users: dict[str, User]
    pulls: dict[int, Pull]
    notes: list[Note] = field(default_factory=list)
    statuses: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=lambda: {"main": sha("main")})
    contents: dict[str, bytes] = field(default_factory=lambda: {".pipeline-step.yaml": b"app: shop\n"})
    proposed: dict[str, bytes] = field(default_factory=dict)
    teams: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"operators": ("maria",)})
    deployments: list[dict[str, object]] = field(default_factory=list)
    push_before_merge: bool = False
    app_token: bool = False

    @property
    def bot(self) -> User:
        return self.users["bot"]

    def add_note(self, pull: int, author: str, body: str, *, edited: bool = False) -> Note:
        """A comment, by someone."""
        note = Note(id=1000 + len(self.notes), author=self.users[author], body=body, pull=pull, edited=edited)
        note.version = 1 if edited else 0
        self.notes.append(note)
        return note

    def find_note(self, number: int | str) -> Note | None:
        """The comment with that id."""
        return next((note for note in self.notes if note.id == int(number)), None)

    def push(self, number: int, *words: object) -> str:
        """A new commit on a pull request's branch."""
        pull = self.pulls[number]
        pull.head = sha("push", number, pull.head, *words)
        pull.version += 1
        return pull.head

    def review(self, number: int, author: str, word: str) -> None:
        """Someone's word on the head of now."""
        self.pulls[number].reviews.append(Review(self.users[author], word, self.pulls[number].head))

    def merge(self, pull: Pull) -> None:
        """Merge it."""
        pull.state = "merged"
        pull.merge_commit = sha("merge", pull.head)

    def open_pull(self, branch: str, base_branch: str, title: str) -> Pull:
        """A pull request of the bot's."""
        number = max(self.pulls) + 1
        pull = Pull(number, self.bot, self.branches[branch], branch, base_branch, title, labels=())
        self.pulls[number] = pull
        return pull


def new_world() -> World:
    """Pull request 5 is open, 6 from a fork, 7 merged; everyone is named after what they may do."""
    names = (
        ("bot", Role.ADMIN),
        ("olga", Role.ADMIN),
        ("maria", Role.MAINTAIN),
        ("wendy", Role.WRITE),
        ("trish", Role.TRIAGE),
        ("rita", Role.READ),
        ("stranger", Role.NONE),
    )
    users = {login: User(login, role, number) for number, (login, role) in enumerate(names, 1)}
    pulls = {
        5: Pull(5, users["wendy"], sha("five")),
        6: Pull(6, users["stranger"], sha("six"), branch="patch", fork=True),
        7: Pull(7, users["wendy"], sha("seven"), branch="done", state="merged", merge_commit=sha("merge", "seven")),
    }
    return World(users=users, pulls=pulls)
