"""What people read of a study, a plan or a cost. Sub-folders by medium: text in the terminal, and figures.

What serves several media lies here: wording, tables as rows, plans as JSON, warnings.
"""
