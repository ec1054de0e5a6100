"""The kinds of users: what each sends, with its think times."""
