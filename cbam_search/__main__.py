"""`python -m cbam_search` is the command `cbam-search`."""

from cbam_search.cli import main

if __name__ == "__main__":  # a process that is started beside this one imports it, too
    main()
